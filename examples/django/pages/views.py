"""The example's views."""

from pathlib import Path

from django.http import FileResponse, Http404, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe
from django.views.generic import CreateView, DetailView

from .models import Note

LOGO = Path(__file__).parent / "static" / "pages" / "logo.svg"


def count_visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return request.session["visits"]


@require_safe
def index(request):
    return render(request, "pages/index.html", {"visits": count_visit(request)})


@require_safe
def visits(request):
    return JsonResponse({"visits": count_visit(request)})


class NoteList(CreateView):
    """All notes, and the form for one more."""

    model = Note
    fields = ["title", "text", "attachment"]
    template_name = "pages/notes.html"
    extra_context = {"notes": Note.objects.all}


class NotePage(DetailView):
    """One note."""

    model = Note


@require_safe
def attachment(request, pk):
    note = get_object_or_404(Note, pk=pk)
    if not note.attachment:
        raise Http404("the note has no attachment")
    return FileResponse(note.attachment.open(), as_attachment=True)


@require_safe
def notes_json(request):
    return JsonResponse({"notes": [described(note) for note in Note.objects.all()]})


def described(note):
    size = note.attachment.size if note.attachment else None
    return {"id": note.pk, "title": note.title, "text": note.text, "attachment": size}


@require_safe
def stream(request):
    chunks = int(request.GET.get("chunks", 5))
    lines = (f"line {number}\n" for number in range(chunks))
    return StreamingHttpResponse(lines, content_type="text/plain", headers={"X-Accel-Buffering": "no"})


@require_safe
def download(request):
    return FileResponse(LOGO.open("rb"), as_attachment=True, filename="logo.svg")


@require_safe
def error(request):
    raise RuntimeError("asked for")
