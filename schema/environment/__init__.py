"""What stands in the environment: what a value may be, which names are ours; and how a process that lasts begins."""
