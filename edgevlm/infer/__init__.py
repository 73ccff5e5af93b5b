"""3. Asking the model: task → prompt → backend → completion → validated answer."""
