"""What training costs: work counted from a configuration, speeds read from published records."""
