"""The network, its teacher, its weights and checkpoints."""
