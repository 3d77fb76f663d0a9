"""Training: a configuration goes in, checkpoints and a log come out, stage by stage (vanilla, pruned, predicted).

An interrupted run goes on to the same bits; ``runs`` reads finished ones back.
"""
