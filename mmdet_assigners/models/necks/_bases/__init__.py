"""Seams that necks and the heads after them share."""
