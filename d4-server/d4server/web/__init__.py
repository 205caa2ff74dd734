"""The page for administrators, and the API: HTTPS on port 7000, over the operations."""
