"""What is done inside a reservation's pod, by commands of ours."""
