"""Hugging Face's `Trainer` with tuner's callback: a small transformer, made on the spot, that tells which of two words
is the more frequent. By hand: python examples/scripts/hugging_face.py --lr 3e-3
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import tuner

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--dropout", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

sentences = np.random.default_rng(0).integers(1, 8, (640, 12))
labels = (sentences == 1).sum(1) > (sentences == 2).sum(1)
examples = [
    {"input_ids": words, "labels": int(label), "attention_mask": [1] * 12}
    for words, label in zip(sentences.tolist(), labels, strict=True)
]

model = BertForSequenceClassification(
    BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12, hidden_dropout_prob=options.dropout,
    )
)  # fmt: skip
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=tempfile.mkdtemp(), learning_rate=options.lr, num_train_epochs=options.epochs, seed=options.seed,
        eval_strategy="epoch", save_strategy="no", logging_strategy="epoch", per_device_train_batch_size=32,
        report_to="none", disable_tqdm=True,
    ),
    train_dataset=examples[128:],
    eval_dataset=examples[:128],
    compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    callbacks=[tuner.report_callback()],
)  # fmt: skip
trainer.train()
