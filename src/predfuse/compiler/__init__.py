"""From a float network to a program of integers: scales, quantised layers, fused weights, tiles, list order."""
