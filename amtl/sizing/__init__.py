"""How many leading dimensions each row of a trained table deserves: basis, costs of cutting, and the front of all budgets."""
