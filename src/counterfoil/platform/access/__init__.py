"""Who may come in, and what each may do: users, roles, sessions, API keys."""
