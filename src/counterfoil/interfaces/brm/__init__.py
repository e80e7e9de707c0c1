"""The BillingPlatform dialect: its paths, words and SQL subset over the entities of ours."""
