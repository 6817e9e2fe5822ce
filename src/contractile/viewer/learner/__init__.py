"""The process that learns while somebody annotates: `python -m contractile.viewer.learner`.

It reads messages from its standard input and writes messages to its standard output (`messages`). Between two steps
of training it takes what was painted (`painted`), predicts what is on the screen (`looking`), scores the network on
what it never learns from (`scoring`) and looks for the place where an annotation helps most (`doubting`).
"""
