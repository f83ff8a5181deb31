"""Images and labels: data sets, splits, augmentation, loading, and the store of pseudo labels."""
