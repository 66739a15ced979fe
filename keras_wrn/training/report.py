"""Logs of runs -> curves and tables."""

from pathlib import Path

from keras_wrn.training.callbacks import RunLog


def plot_curves(run_dir):
    """Draw error, loss and learning rate over the epochs of a run into its curves.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    run_dir = Path(run_dir)
    lines = RunLog.read(run_dir / "log.jsonl")
    epochs = [line["epoch"] for line in lines]
    figure, (errors, losses, rates) = plt.subplots(1, 3, figsize=(12, 3.6))
    for axes, key, label in (
        (errors, "accuracy", "training (augmented)"),
        (errors, "val_accuracy", "held out"),
        (losses, "loss", "training (augmented)"),
        (losses, "val_loss", "held out"),
        (rates, "learning_rate", None),
    ):
        values = [line[key] for line in lines]
        if key.endswith("accuracy"):
            values = [100 * (1 - value) for value in values]
        axes.plot(epochs, values, label=label, marker="." if len(epochs) < 4 else None)
    errors.set(title=f"Error: {100 * (1 - lines[-1]['val_accuracy']):.2f} %", ylabel="%")
    errors.set_ylim(0, None)
    losses.set(title="Loss")
    rates.set(title="Learning rate of the epoch's last step")
    for axes in (errors, losses):
        axes.legend()
    for axes in (errors, losses, rates):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    figure.suptitle(run_dir.name)
    figure.tight_layout()
    figure.savefig(run_dir / "curves.png", dpi=120)
    plt.close(figure)
