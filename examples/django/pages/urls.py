"""The example's own URLs; ../../README.md lists what each answers."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("visits/", views.visits, name="visits"),
    path("notes/", views.NoteList.as_view(), name="notes"),
    path("notes/<int:pk>/", views.NotePage.as_view(), name="note"),
    path("notes/<int:pk>/attachment/", views.attachment, name="attachment"),
    path("notes.json", views.notes_json, name="notes-json"),
    path("stream/", views.stream, name="stream"),
    path("download/", views.download, name="download"),
    path("error/", views.error, name="error"),
]
