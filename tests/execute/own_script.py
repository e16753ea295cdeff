"""A training script such as users bring, and worse: what `fault` names happens at its second epoch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

rate, fault = float(sys.argv[1]), sys.argv[2]
epochs = int(os.environ["TUNER_TO_EPOCH"]) if fault != "ignores all" else 4
folder = Path(os.environ["TUNER_CHECKPOINT_DIR"])
first = 1
if os.environ.get("TUNER_RESUME") and fault != "ignores all":
    first = int((folder / "epoch").read_text()) + 1
(folder / "starts").open("a").write("x") if fault != "ignores all" else None

for epoch in range(first, epochs + 1):
    value = epoch * rate
    if epoch == 2:
        match fault:
            case "exit":
                sys.exit("no such luck")
            case "nan":
                value = float("nan")
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                child = subprocess.Popen(["sleep", "600"])
                (folder / "child").write_text(str(child.pid))
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(600)
            case "skips":
                continue
            case "stops":
                break
    if fault == "slow":
        time.sleep(0.2)
    report = {
        "epoch": epoch,
        "score": value,
        "train_score": value,
        "loss": 1 / epoch,
        "train_loss": 2 / epoch,
        "learning_rate": rate,
    }
    if fault == "from zero":
        report["epoch"] -= 1
    if fault == "measures first" and epoch == 1:
        print(json.dumps({**report, "epoch": 0, "score": 99.0}))
    if fault == "batches":
        print(json.dumps({"epoch": epoch, "batch": 7, "score": 0.5}))
    if fault == "rounds":
        print(f"epoch={epoch} score={value:.4f}")
    if fault == "silent":
        report.pop("score")
    if fault != "ignores all":
        (folder / "new").write_text(str(epoch))
        (folder / "new").replace(folder / "epoch")
    match fault:
        case "file":
            with Path(os.environ["TUNER_REPORT"]).open("a") as file:
                file.write(json.dumps(report) + "\n")
        case "words":
            print(" ".join(f"{name}={report[name]}" for name in ("epoch", "score", "train_score", "loss")))
        case _:
            print(json.dumps(report))
    print("a line for the log", file=sys.stderr)
