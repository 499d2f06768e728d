"""What people look at: pages, drawn from records alone."""
