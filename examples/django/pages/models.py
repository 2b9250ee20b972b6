"""What the example stores."""

from django.db import models
from django.urls import reverse


class Note(models.Model):
    """A titled text, perhaps with a file."""

    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    attachment = models.FileField(upload_to="notes/", blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("note", args=[self.pk])
