"""What is compared with what, and the rates that follow."""
