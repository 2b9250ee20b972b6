"""What the admin shows."""

from django.contrib import admin

from .models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ["title", "attachment"]
    search_fields = ["title", "text"]
