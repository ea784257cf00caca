"""A sweep as one HTML file that needs no network."""

from jsweep.results.report.page import Page as Page
from jsweep.results.report.page import check_target as check_target
from jsweep.results.report.page import page_of as page_of
