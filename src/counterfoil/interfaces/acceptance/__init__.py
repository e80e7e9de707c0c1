"""The page on which a quote is accepted by its link, without signing in."""
