"""What a trained model can do, on held-out clips, beside baselines."""
