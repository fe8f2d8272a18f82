"""What the status of a pod says, in the words of kubelets, schedulers and controllers."""
