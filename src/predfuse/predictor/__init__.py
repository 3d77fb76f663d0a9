"""The multiplication-free ReLU predictor: its number format, its trainable form, its fitting, and how models get it.

In come a trained model and images, out comes the same model with a predictor in every block, to be trained further.
"""
