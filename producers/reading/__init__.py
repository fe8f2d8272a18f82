"""What people read before and after they ask: for the submit script, the console and the API alike."""
