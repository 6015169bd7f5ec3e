"""The layer, the masked embedding and the models around it."""
