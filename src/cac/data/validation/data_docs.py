"""Great Expectations' Data Docs without what changes from run to run, so that the same data gives the same pages.

Three things vary in its pages: the load time of the batch, a time stamp in the logo's address, and a random id in
fold-out elements (the id of the block around it is unique already). Out of scope: the run's own time, which `checks.py`
fixes. The module subclasses classes of Great Expectations and imports it at the top: import it inside functions only.
"""

from typing import Any, cast

from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.components import RenderedDocumentContent
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import pass_context


class ValidationPage(ValidationResultsPageRenderer):
    """The page of one suite's result, without the time the table was loaded."""

    def render(
        self, validation_results: ExpectationSuiteValidationResult, suite_parameters: Any = None
    ) -> RenderedDocumentContent:
        """Return the page's content."""
        cast("dict[str, Any]", validation_results.meta).pop("batch_markers", None)
        content: RenderedDocumentContent = super().render(validation_results, suite_parameters)
        return content


class PageView(DefaultJinjaPageView):
    """A page as HTML, the same for the same content."""

    def generate_html_element_uuid(self, prefix: str | None = None) -> str:
        """Return the prefix alone."""
        return prefix or ""

    @pass_context
    def add_data_context_id_to_url(self, jinja_context: Any, url: str, add_datetime: bool = True) -> str:
        """Return the address as it is."""
        return url


class IndexView(PageView):
    """The index as HTML, the same for the same content."""

    _template = DefaultJinjaIndexPageView._template


def site_config(folder: str) -> Any:
    """Return the configuration of a Data Docs site written to an absolute `folder`."""
    page_view = {"module_name": __name__, "class_name": PageView.__name__}
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder},
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "view": {"module_name": __name__, "class_name": IndexView.__name__},
        },
        "site_section_builders": {
            "expectations": {"view": page_view},
            "validations": {
                "view": page_view,
                "renderer": {"module_name": __name__, "class_name": ValidationPage.__name__},
            },
        },
    }
