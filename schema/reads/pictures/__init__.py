"""What pages draw: GPUs as cells of their nodes, what ends next, the arrows of a machine."""
