"""What the story asks of mkat's API."""

import base64
import json
import urllib.request

UP, DOWN, PAUSED = 1, 2, 3


class Mkat:
    PASSWORD = "watched cluster"

    def __init__(self, base):
        self.base = base
        self.credentials = "Basic " + base64.b64encode(f"admin:{self.PASSWORD}".encode()).decode()

    def get(self, path):
        request = urllib.request.Request(self.base + path, headers={"authorization": self.credentials})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def states(self):
        """Name of each service -> its state."""
        return {each["name"]: each["state"] for each in self.get("/api/v1/services?pageSize=100")["items"]}
