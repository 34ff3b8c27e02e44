"""Tables as data: which runs stand behind each cell, what they say, and how it is shown."""
