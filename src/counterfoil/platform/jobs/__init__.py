"""Jobs: what is to be done later or regularly, kept in the database until it is done."""
