"""Parts of trainings that several families share."""
