"""What others may rely on, generated from workflow/schemas: the data model and the API's contract.

Imports nothing of workers, models or reports: contracts are made without measuring anything.
"""
