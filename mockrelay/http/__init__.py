"""The relay's HTTP side: the app's REST interface, health, keys and control."""
