"""Fine-tuning a causal language model on the rows: apart from the house, torch lives only here.

Enters: rows and a base model. Leaves: a folder that plain transformers loads. Imports
records, errors, formats and reading of the house, and the rule of who is held out and of what a
file's row is (exporting.choice, importing.rows), so that there is one of each.

    templates → encode → packing → running
"""
