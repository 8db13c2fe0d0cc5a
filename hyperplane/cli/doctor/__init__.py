"""`hyperplane doctor`: what this machine and its kernel lack, found by trying."""
