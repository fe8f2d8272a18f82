"""What one user may have: the rules (047), asked by workers before they make rows, by the dry run, and by people."""
