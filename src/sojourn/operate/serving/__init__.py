"""Requests over HTTP come in; a user's features and predictions, or the saved models' scores of rows, go out."""
