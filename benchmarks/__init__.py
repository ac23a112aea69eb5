"""What is measured, and against what. Figures are ratios of one run: machines differ, and are noisy."""
