"""Resources and their lives, and the compiler that turns all of them into one snapshot."""
