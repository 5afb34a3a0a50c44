"""Fine-tuning a causal language model on the rows: apart from the house, torch lives only here.

Enters: rows and a base model. Leaves: a folder that plain transformers loads. Imports records,
errors, formats and reading of the house, nothing else of it.

    templates → encode → packing → running
"""
