"""What pages draw: GPUs as cells, what ends next, machines and their ways, queues over a day; the fleet's figures."""
