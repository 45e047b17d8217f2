"""What programs and their tests do to the process that a client lives in: clocks, event loops, other libraries."""
