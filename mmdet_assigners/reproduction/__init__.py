"""Tables of papers: planning, running, resuming and reporting them."""
