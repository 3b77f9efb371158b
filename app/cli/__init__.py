"""`soma`: the command line for operators without a browser, a client of the gateway over HTTP and nothing else."""
