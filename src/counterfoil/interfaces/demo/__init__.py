"""The demo organisation: a managed video-conferencing provider and one month of its usage."""
