"""`clean`: any instruction file made better, and a reason for every row that is left out."""
