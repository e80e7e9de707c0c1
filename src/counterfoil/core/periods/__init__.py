"""Calendars, billing cycles from an anchor, proration by day, and time zones."""
