"""Trials whose network is a LightningModule: Lightning's own Trainer trains them, one by one."""
